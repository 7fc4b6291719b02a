"""Measures isoswitch beside its baselines; ``python -m bench`` runs everything."""
