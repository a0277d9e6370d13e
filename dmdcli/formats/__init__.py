"""The file formats photos are kept in: one module per format, no paths, no faces, bytes in and bytes out.

Every module has the same functions:

    read(source) -> Picture                              the samples as stored; raises Unreadable
    metadata(source) -> Metadata                         what may travel to another format
    rewrite(source, changed, quality) -> bytes            the same file with changed samples, everything else kept
    write(stored, metadata, quality) -> bytes            a new file; raises Unwritable
    without_location(source) -> bytes                    the same file without GPS in EXIF and XMP
    with_xmp(source, packet) -> bytes                    the same file with another XMP packet; not heif and bmp
"""
