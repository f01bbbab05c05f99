"""The routes, a module for each kind of thing; the use cases behind them are in `door`."""
