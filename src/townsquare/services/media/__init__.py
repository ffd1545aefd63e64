"""media: pictures, videos and files of the community."""
