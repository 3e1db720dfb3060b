"""A plugin-based registry of LLM backends for programs written with Mellea."""
