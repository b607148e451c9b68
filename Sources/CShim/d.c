int slipway_dummy(void){return 0;}
