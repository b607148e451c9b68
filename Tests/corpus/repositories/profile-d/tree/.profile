export STEPS="$STEPS profile"
