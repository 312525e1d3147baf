target_sources(test_drift_statistics PRIVATE ${CMAKE_SOURCE_DIR}/plugins/drift/statistics.c)
target_include_directories(test_drift_statistics PRIVATE ${CMAKE_SOURCE_DIR}/plugins/drift)
target_link_libraries(test_drift_statistics PRIVATE m)
