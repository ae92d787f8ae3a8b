"""What somebody may like next."""
