"""The Ollama backend of mellea-api."""
