# Loops that validate and test on a whole set. A config with no other schedule trains nothing.
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
