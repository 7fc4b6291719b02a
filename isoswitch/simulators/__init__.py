"""The other ends of a payment network: terminals and issuers."""
