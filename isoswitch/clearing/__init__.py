"""What is owed between institutions, and how it is paid; pure."""
