# Kafka's messages as C++: generated at build time from the tables in tools/kafka_frames/schema, with the hand-written forms of the
# wire beside them, as the library robustmq_protocol_kafka_frames that the room protocol/kafka links.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

set(kafka_frames_tool "${CMAKE_SOURCE_DIR}/tools/kafka_frames/generate.py")
set(kafka_frames_root "${CMAKE_BINARY_DIR}/generated")
set(kafka_frames_dir "${kafka_frames_root}/protocol/kafka/frames")
file(GLOB kafka_frames_schemas CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tools/kafka_frames/schema/*.txt")
file(GLOB kafka_frames_wire CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/src/protocol/kafka/frames/*.cc")

set(kafka_frames_sources "")
set(kafka_frames_headers "${kafka_frames_dir}/apis.h" "${kafka_frames_dir}/all.h")
foreach(schema ${kafka_frames_schemas})
  get_filename_component(stem "${schema}" NAME_WE)
  list(APPEND kafka_frames_sources "${kafka_frames_dir}/${stem}.cc")
  list(APPEND kafka_frames_headers "${kafka_frames_dir}/${stem}.h")
endforeach()

# The generator leaves files that did not change untouched; the stamp tells when it ran last.
set(kafka_frames_stamp "${kafka_frames_dir}/generated.stamp")
add_custom_command(
  OUTPUT "${kafka_frames_stamp}"
  BYPRODUCTS ${kafka_frames_sources} ${kafka_frames_headers}
  COMMAND "${Python3_EXECUTABLE}" "${kafka_frames_tool}" "${kafka_frames_dir}" ${kafka_frames_schemas}
  COMMAND "${CMAKE_COMMAND}" -E touch "${kafka_frames_stamp}"
  DEPENDS "${kafka_frames_tool}" ${kafka_frames_schemas}
  COMMENT "Generating Kafka's frames"
  VERBATIM)
add_custom_target(kafka_frames_generated DEPENDS "${kafka_frames_stamp}")

add_library(robustmq_protocol_kafka_frames STATIC ${kafka_frames_wire} ${kafka_frames_sources})
add_dependencies(robustmq_protocol_kafka_frames kafka_frames_generated)
target_include_directories(robustmq_protocol_kafka_frames PUBLIC "${CMAKE_SOURCE_DIR}/src" "${kafka_frames_root}")
target_link_libraries(robustmq_protocol_kafka_frames PUBLIC robustmq_base)
robustmq_use_pch(robustmq_protocol_kafka_frames pch)

add_test(NAME tools_kafka_frames COMMAND "${Python3_EXECUTABLE}" "${CMAKE_SOURCE_DIR}/tools/kafka_frames/generate_test.py")
set_tests_properties(tools_kafka_frames PROPERTIES LABELS "tools/kafka_frames" TIMEOUT 60)
