"""Lists of models: from the provider, from the cache, and which name somebody meant."""
