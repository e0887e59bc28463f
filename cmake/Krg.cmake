# SPDX-License-Identifier: GPL-2.0
#
# What every part of the userspace build shares: warning and sanitizer flags, and four functions that say what a target is.
#
#	krg_add_engine(NAME SOURCES...)        freestanding engine as a static library, with the kernel build's restrictions
#	krg_add_unit_test(NAME SOURCES... [LIBS libs...])   a GoogleTest binary in bin/, registered with ctest
#	krg_add_fuzzer(NAME SOURCES... [LIBS libs...])      LLVMFuzzerTestOneInput: libFuzzer with KRG_FUZZ, else a replayer
#	krg_pkg(TARGET pkg-config-names...)    link libraries known to pkg-config

add_library(krg_options INTERFACE)
add_library(krg::options ALIAS krg_options)
target_compile_options(krg_options INTERFACE -Wall -Wextra -Wshadow $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>
                                             -fno-omit-frame-pointer)
if(KRG_WERROR)
  target_compile_options(krg_options INTERFACE -Werror)
endif()
target_include_directories(krg_options INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/include)

# Line numbers are all a backtrace needs; whole debug information costs a third of the time to compile.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")

if(KRG_SANITIZE OR KRG_FUZZ)
  # With the sanitizers' checks in between GCC loses track inside libstdc++ (std::regex) and warns of what is not there.
  target_compile_options(krg_options INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  # Reports are as good at -O1, and assertions stay on.
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
  set(krg_sanitizers -fsanitize=address,undefined -fno-sanitize-recover=all)
  add_compile_options(${krg_sanitizers})
  add_link_options(${krg_sanitizers})
endif()
if(KRG_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES Clang)
    message(FATAL_ERROR "KRG_FUZZ needs clang: configure with -DCMAKE_CXX_COMPILER=clang++ (make fuzz does)")
  endif()
  # Every object carries coverage counters; only fuzz targets link libFuzzer's main.
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

function(krg_add_engine name)
  add_library(${name} STATIC ${ARGN})
  target_link_libraries(${name} PRIVATE krg_options)
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/include ${CMAKE_CURRENT_SOURCE_DIR})
  target_compile_options(${name} PRIVATE -fno-exceptions -fno-rtti -fno-threadsafe-statics)
endfunction()

function(krg_add_unit_test name)
  cmake_parse_arguments(arg "" "" "LIBS" ${ARGN})
  find_package(GTest REQUIRED)
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE krg_options ${arg_LIBS} GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  set_property(GLOBAL APPEND PROPERTY KRG_UNIT_TESTS ${name})
endfunction()

function(krg_add_fuzzer name)
  cmake_parse_arguments(arg "" "" "LIBS" ${ARGN})
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE krg_options ${arg_LIBS})
  if(KRG_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.cc)
  endif()
  set_property(GLOBAL APPEND PROPERTY KRG_FUZZ_TARGETS ${name})
endfunction()

find_package(PkgConfig)
function(krg_pkg target)
  foreach(name IN LISTS ARGN)
    string(MAKE_C_IDENTIFIER "krg_pc_${name}" var)
    if(NOT TARGET PkgConfig::${var})
      pkg_check_modules(${var} REQUIRED IMPORTED_TARGET GLOBAL ${name})
    endif()
    target_link_libraries(${target} PRIVATE PkgConfig::${var})
  endforeach()
endfunction()
