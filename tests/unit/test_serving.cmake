# The plugin's files that need no SDK.
target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/serving/tensor.c ${CMAKE_SOURCE_DIR}/plugins/serving/csv.c)
target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/serving)
