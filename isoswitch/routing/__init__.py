"""Which endpoint a card goes to, and why; pure."""
