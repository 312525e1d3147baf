target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/serving/mlmodel.c)
target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/plugins/serving)
target_link_libraries(${name} PRIVATE PkgConfig::YAML)
