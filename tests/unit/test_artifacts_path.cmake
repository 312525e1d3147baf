target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/artifacts/path.c)
target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/artifacts)
