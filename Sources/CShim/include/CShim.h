int slipway_dummy(void);
