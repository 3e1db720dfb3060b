"""What plugin authors need to test their backends. Nothing is imported until it is asked for.

`strategies` generates model options for hypothesis, which has to be installed for it.
"""
