#include "manager/manager.h"

struct fx_manager fx_manager;
