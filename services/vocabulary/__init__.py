"""What all services and rule sets share: values, words, ids, identities, the catalogue and its wire form."""
