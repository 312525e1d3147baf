#include "trainer.h"

PURLIN_TRAINER(train_process, "process", process_specification, "Any command of this machine") {
  return train(ctx, training, specification);
}

PURLIN_CONTAINED_PLUGIN("trainer-process", "0.1.0",
    .summary = "Trains by running a command",
    .description = "Runs a program that gets the addresses of the data, for artifacts and for reports, or that only writes files and lines",
    .license = "Apache-2.0",
    .configuration = process_configuration_schema);
