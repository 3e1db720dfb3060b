"""An embedded n-gram backend for mellea-api."""
