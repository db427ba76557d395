"""`rapport simulate`: what drafts of rule sets would have done in the past."""
