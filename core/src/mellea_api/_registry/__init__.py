"""Find plugins, load them, and ask them.

`discovery` reads installed metadata and imports nothing; `registry` is the immutable value that
holds what was found, and the one that the functions of `mellea_api` share. The others are imported
when a backend is first asked for: `loading` imports one plugin, and checks it against the contract;
`hooks` calls the hooks of one backend, and `credentials` finds what they need; `backend` is one
loaded backend with all it can be asked.
"""
