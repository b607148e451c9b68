export STEPS=one
