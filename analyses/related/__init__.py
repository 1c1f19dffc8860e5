"""Methods that people really use, and the networks that they need: what `related_methods` asks.

`acting` says what a method is, `by_pose` and `by_itself` how each acts, `learning` how the networks
are trained, `measuring` what they hand on; `methods` lists them with what the theory says of each.
"""
