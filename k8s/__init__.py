"""What runs Rapport on Kubernetes, and the programs that check it."""
