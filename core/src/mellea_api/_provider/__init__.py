"""What can go wrong with any server, whatever its SDK."""
