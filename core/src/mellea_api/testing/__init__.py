"""What plugin authors need to test their backends. Nothing is imported until it is asked for.

`contract` is the suite that every backend passes, and `server` the one for those with a server, to
be subclassed; `loopback` is a server to test against, `strategies` generates model options. All
but `loopback` need hypothesis, which is no dependency of the library.
"""
