"""The OpenAI backend of mellea-api."""
