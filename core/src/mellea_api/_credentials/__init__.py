"""Find credentials, and judge them without asking anybody."""
