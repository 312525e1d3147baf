#include "runner/runner.h"

int main(int count, char **arguments) { return purlin_runner_main(count, arguments); }
