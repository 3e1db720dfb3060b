"""The values of the contract between the core and its plugins."""
