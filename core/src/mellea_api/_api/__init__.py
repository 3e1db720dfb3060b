"""What stands behind the functions of `mellea_api`: arguments, environment, defaults."""
