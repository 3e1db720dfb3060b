"""Servers that speak OpenAI's protocol: described as data, with the hooks that they all share."""
