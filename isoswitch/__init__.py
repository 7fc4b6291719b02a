"""An ISO 8583 and ISO 20022 payment switch, acquirer host and certification lab."""
