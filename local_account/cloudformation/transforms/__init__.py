"""What is done to templates before they are read: macros, AWS::Include and AWS::LanguageExtensions."""
