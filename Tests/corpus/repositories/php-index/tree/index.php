<?php echo "hello from PHP ", 6 * 7;
