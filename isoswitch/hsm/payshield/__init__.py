"""The second backend: payment HSMs that take payShield-style host commands by TCP."""
