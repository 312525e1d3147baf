#include "ctl/ctl.h"

int main(int count, char **arguments) { return purlin_control_main(count, arguments); }
