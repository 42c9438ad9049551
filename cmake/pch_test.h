// What every test needs besides pch.h; precompiled once a build directory.
#pragma once

#include "pch.h"

#include <gtest/gtest.h>
