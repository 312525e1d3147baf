#include "daemon/daemon.h"

int main(int count, char **arguments) { return purlin_daemon_main(count, arguments); }
