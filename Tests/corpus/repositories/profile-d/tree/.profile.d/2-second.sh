export STEPS="$STEPS two"
