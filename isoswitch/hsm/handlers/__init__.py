"""What each payment command does, as functions of the loaded keys."""
