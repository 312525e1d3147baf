#include "xgboost.h"

PURLIN_TRAINER(train_xgboost, "xgboost", xgboost_specification, "Gradient-boosted trees by libxgboost") {
  return train(ctx, training, specification);
}

PURLIN_CONTAINED_PLUGIN("trainer-xgboost", "0.1.0",
    .summary = "Trains gradient-boosted trees",
    .description = "Classification and regression with libxgboost, from CSV, in a process of its own",
    .license = "Apache-2.0");
