# Installation: DESTDIR and prefix as usual; uninstall removes exactly what install wrote. The CUDA plugin,
# where this build has one, lies beside the library, which looks for it there.
PRIVATE_LIBS = $(strip $(LIB_LIBS)) -pthread

$(BUILD)/equinv.pc: equinv.pc.in $(HEADER) $(FLAGS_FILE)
	$(Q)sed -e 's|@prefix@|$(prefix)|' -e 's|@libdir@|$(libdir)|' -e 's|@includedir@|$(includedir)|' \
	    -e 's|@version@|$(VERSION)|' -e 's|@libs@|$(PRIVATE_LIBS)|' equinv.pc.in > $@.tmp && mv $@.tmp $@

.PHONY: install uninstall check-install $(BUILD)/equinv.pc
install: lib program $(BUILT_PLUGIN) $(BUILD)/equinv.pc ## install under $(DESTDIR)$(prefix)
	install -d $(DESTDIR)$(includedir)/equinv $(DESTDIR)$(libdir)/pkgconfig $(DESTDIR)$(bindir)
	install -m 644 $(HEADER) $(DESTDIR)$(includedir)/equinv/
	install -m 644 $(STATIC) $(DESTDIR)$(libdir)/
	install -m 755 $(SHARED) $(DESTDIR)$(libdir)/
	ln -sf $(notdir $(SHARED)) $(DESTDIR)$(libdir)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(libdir)/libequinv.so
	$(if $(BUILT_PLUGIN),install -m 755 $(BUILT_PLUGIN) $(DESTDIR)$(libdir)/)
	install -m 644 $(BUILD)/equinv.pc $(DESTDIR)$(libdir)/pkgconfig/
	$(if $(TOOL_OBJECTS),install -m 755 $(BUILD)/bin/equinv $(DESTDIR)$(bindir)/)

uninstall: ## remove what install wrote
	rm -f $(DESTDIR)$(includedir)/equinv/equinv.h $(DESTDIR)$(libdir)/libequinv.a \
	    $(DESTDIR)$(libdir)/$(notdir $(SHARED)) $(DESTDIR)$(libdir)/$(SONAME) $(DESTDIR)$(libdir)/libequinv.so \
	    $(DESTDIR)$(libdir)/$(notdir $(PLUGIN)) $(DESTDIR)$(libdir)/pkgconfig/equinv.pc $(DESTDIR)$(bindir)/equinv
	-rmdir $(DESTDIR)$(includedir)/equinv 2>/dev/null

check-install: lib program $(BUILT_PLUGIN) ## build consumers from an installed tree by pkg-config
	@tests/install/check.sh "$(MAKE)" $(BUILD)/install "$(CC) $(CFLAGS) $(LINK_FLAGS)" $(notdir $(BUILT_PLUGIN))
