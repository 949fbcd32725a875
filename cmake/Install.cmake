# Installation: headers, static libraries, programs, a CMake package (find_package(hufu)) and pkg-config files.
include(CMakePackageConfigHelpers)

function(hufu_install)
  get_property(libraries GLOBAL PROPERTY HUFU_INSTALLED_LIBRARIES)
  get_property(include_dirs GLOBAL PROPERTY HUFU_PUBLIC_INCLUDE_DIRS)
  install(TARGETS ${libraries} EXPORT hufu-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  foreach(dir IN LISTS include_dirs)
    install(DIRECTORY ${dir}/hufu DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  endforeach()
  foreach(program IN ITEMS hufu hufu-broker)
    if(TARGET ${program})
      install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    endif()
  endforeach()

  set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/hufu)
  install(EXPORT hufu-targets NAMESPACE hufu:: DESTINATION ${package_dir})
  configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/hufuConfig.cmake.in ${CMAKE_BINARY_DIR}/hufuConfig.cmake
                                INSTALL_DESTINATION ${package_dir})
  write_basic_package_version_file(${CMAKE_BINARY_DIR}/hufuConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${CMAKE_BINARY_DIR}/hufuConfig.cmake ${CMAKE_BINARY_DIR}/hufuConfigVersion.cmake DESTINATION ${package_dir})

  # Static libraries, users before what they use.
  list(REVERSE libraries)
  set(HUFU_PC_LIBS "")
  foreach(library IN LISTS libraries)
    string(APPEND HUFU_PC_LIBS " -l${library}")
  endforeach()
  configure_file(${CMAKE_SOURCE_DIR}/cmake/hufu.pc.in ${CMAKE_BINARY_DIR}/hufu.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/hufu.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()
