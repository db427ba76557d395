#!/bin/sh
# Run once by the image, when its folder is new: a database for each service, which only its own role may enter.
# (In a shell of its own: the image reads this file into its.)
(
  set -eu
  for service in profile decision channel; do
    password=$(cat "/etc/postgresql/secrets/$service")
    psql --set ON_ERROR_STOP=1 --set service="$service" --set password="$password" --username "$POSTGRES_USER" <<'SQL'
SET log_min_error_statement = panic;
CREATE ROLE :"service" LOGIN PASSWORD :'password';
CREATE DATABASE :"service" OWNER :"service";
REVOKE ALL ON DATABASE :"service" FROM PUBLIC;
SQL
  done
)
