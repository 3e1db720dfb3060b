"""What plugin authors need to test their backends. Nothing is imported until it is asked for.

`contract` is the suite that every backend passes, to be subclassed; `strategies` generates model
options. Both need hypothesis, which is no dependency of the library.
"""
